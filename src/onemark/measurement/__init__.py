"""From points to what people publish: measurements, agreement of observers, shapes, and the text about methods."""
