"""The napari plugin: five numbered steps from a folder of radiographs to their landmarks.

Only this package imports napari, Qt and magicgui. It does its work through the public functions of the other packages,
so Python and the shell can do the same. Its rooms, each of which imports only those before it:

    state         the session and what is on disk, without Qt and napari
    canvas        onemark's layers in the viewer
    controllers   what the window does: open, train, review, export
    widgets       the parts that pages are made of
    pages         the pages of the five steps
    widget        the panel; `contributions` is what napari's manifest names
"""
