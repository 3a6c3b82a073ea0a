"""Labelled images before anything is learnt from them: what is there, and what is wrong with it."""
