// What differs between two answers to the same question, in sentences: who is reached now, who no longer, who is not ready, what the odds are now.
const NAMED = 3;

// A kernel's 1/5 is a little less or more than that; here one is as good as the other.
const odds = (answer, name) => answer.ends[name][0].replace("≈", "");

// An answer that was kept before it was told has no word for it, and named nobody else.
const reached = (answer) => Object.keys(answer.ends).filter((name) => answer.ends[name][2] !== false);

export function diff(before, after) {
  if (!before || !after) return null;
  const old = JSON.parse(before), now = JSON.parse(after);
  const names = Object.keys(now.ends);
  const both = names.filter((name) => name in old.ends);
  return {
    verdict: old.verdict === now.verdict ? "" : now.verdict,
    came: reached(now).filter((name) => !(name in old.ends)),
    left: reached(old).filter((name) => !(name in now.ends)),
    turned: both.filter((name) => old.ends[name][1] !== now.ends[name][1]).map((name) => [name, now.ends[name][1]]),
    odds: [...new Set(both.filter((name) => odds(old, name) !== odds(now, name)).map((name) => `${odds(now, name)} instead of ${odds(old, name)}`))],
  };
}

const some = (names, one, many) => (names.length === 1 ? `${names[0]} ${one}` : names.length <= NAMED ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)} ${many}` : `${names.length} endpoints ${many}`);

export function sentences(found) {
  if (!found) return [];
  const said = [];
  if (found.verdict) said.push(`The answer is now: ${found.verdict}.`);
  if (found.came.length) said.push(`${some(found.came, "is reached now", "are reached now")}.`);
  if (found.left.length) said.push(`${some(found.left, "is no longer reached", "are no longer reached")}.`);
  for (const [name, state] of found.turned.slice(0, NAMED)) said.push(`${name} is now ${state}.`);
  if (found.odds.length === 1) said.push(`An endpoint now gets ${found.odds[0]}.`);
  else if (found.odds.length) said.push("The odds of its endpoints changed.");
  return said;
}
