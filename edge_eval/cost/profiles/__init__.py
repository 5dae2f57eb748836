"""Published peaks of devices, one JSON file each; a figure without a public source is null and says so."""
