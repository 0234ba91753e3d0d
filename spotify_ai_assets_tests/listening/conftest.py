"""Its being here lets the tests of the rooms below import the frames of this folder."""
