"""The results of a recorded run: sound, a film and a contact sheet of the face, a plot of skew, and figures."""
