"""Stage I: matchers carry the exemplar's landmarks to any radiograph."""
