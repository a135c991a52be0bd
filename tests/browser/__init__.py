"""The pages in headless Chromium. A package, so that their server ends with the last of them: it plays timelines as long as it runs."""
