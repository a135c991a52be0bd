// The comparison. Everything here only makes faster what the page's links and forms already do.
import "./copy.js";
