"""`imagepipe watch`: trainings as they run, in the terminal and in a browser. It only reads."""
