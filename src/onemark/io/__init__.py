"""Files in and out: radiographs, cohorts, landmark tables and their formats, run folders, atomic writes.

Import from the modules themselves; this package loads nothing.
"""
