"""Faces in pictures: found, cut out and put back, put together from several, masked part by part, compared."""
