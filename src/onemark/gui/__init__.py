"""The napari plugin: five numbered steps from a folder of radiographs to their landmarks.

The only part of onemark that imports napari, Qt and magicgui. Everything it does is a call of `onemark.pipeline.trainer`,
`onemark.io` or `onemark.evaluation.report`, so whatever is done here can be done from Python and from the shell.
"""
