"""Where a scan runs, besides this process: engines that exist, imported when asked for."""
