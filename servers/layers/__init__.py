"""How a layer's files are made: fetched or unpacked, judged name by name, sealed and named by their content."""
