"""onemark's layers in the viewer: radiograph, landmarks, evidence. Built on the session; knows no controller."""
