// Runs before the first paint: says that JavaScript is on, so that styles can show what needs it and nothing moves later.
document.documentElement.classList.add("js");
