// Lets a room of headers only be a library like the others.
