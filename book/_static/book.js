// A page opened as a file may not read the other pages, which search would quote from; it still lists what it found.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
