"""Parts that the pages and the panel are made of. Built on the controllers; knows no page."""
