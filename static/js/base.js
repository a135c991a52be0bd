// What every page loads: the theme button and the messages for failed requests.
import "./theme.js";
import "./toast.js";
