"""Files in and out: radiographs, cohorts, landmark tables and their formats, atomic writes."""
