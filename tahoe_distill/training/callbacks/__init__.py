"""What Composer calls during a run; a file is named as the callback is in the YAML."""
