// The trace page. Everything here only makes faster what the page's links and forms already do.
import "./parts.js";
import "./player.js";
import "./graph-keys.js";
import "./zoom.js";
import "./find.js";
import "./copy.js";
import "./sheet.js";
import "./settings.js";
