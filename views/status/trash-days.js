// The days of the trash, in the time zone of the browser, from the quarters of an hour that the server counts.

/** Returns the days, newest first: `begin` and `end` in seconds since 1970, the number of files, and their bytes. */
export function days(quarters) {
  const found = new Map();
  for (const [seconds, number, size] of quarters) {
    const begin = startOfDay(seconds);
    const day = found.get(begin) ?? { begin, end: nextDay(begin), number: 0, bytes: 0 };
    day.number += number;
    day.bytes += size;
    found.set(begin, day);
  }
  return [...found.values()].sort((one, other) => other.begin - one.begin);
}

/** Returns the name of a day: `Today`, `Yesterday`, or the date. */
export function dayName(begin) {
  const today = startOfDay(Date.now() / 1000);
  const date = new Date(begin * 1000);
  const written = date.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  if (begin === today) {
    return `Today, ${written}`;
  }
  return nextDay(begin) === today ? `Yesterday, ${written}` : written;
}

function startOfDay(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime() / 1000;
}

/** Days have 23 to 25 hours. */
function nextDay(begin) {
  const date = new Date(begin * 1000);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime() / 1000;
}
