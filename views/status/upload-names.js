// Store names of uploads: which exist already, and new ones.

/** How long the names of one request may be, because servers limit the length of addresses. */
const MOST_CHARACTERS = 3000;

/** Returns which of these store names exist in a collection folder. */
export async function existing(server, place, names) {
  const found = new Set();
  for (const some of batches(names)) {
    // Store names do not contain slashes.
    const report = await server.data("existing", { place, names: some.join("/") });
    report.existing.forEach((name) => found.add(name));
  }
  return found;
}

function* batches(names) {
  let some = [];
  let length = 0;
  for (const name of names) {
    const size = encodeURIComponent(name).length + 3;
    if (some.length && (length + size > MOST_CHARACTERS || some.length === 100)) {
      yield some;
      [some, length] = [[], 0];
    }
    some.push(name);
    length += size;
  }
  if (some.length) {
    yield some;
  }
}

/** Gives items whose names are taken new ones: `a.jpg` becomes `a-2.jpg`, or the next number that is free. */
export async function rename(server, place, items, taken) {
  let open = items.map((item) => ({ item, number: 2 }));
  while (open.length) {
    const candidates = open.map(({ item, number }) => numbered(item.name, number));
    const used = await existing(server, place, [...new Set(candidates)]);
    open = open.filter((entry, i) => {
      if (used.has(candidates[i]) || taken.has(candidates[i])) {
        entry.number += 1;
        return true;
      }
      entry.item.name = candidates[i];
      taken.add(candidates[i]);
      return false;
    });
  }
}

function numbered(name, number) {
  const [root, extension] = parts(name);
  return `${root}-${number}${extension}`;
}

/** Returns a UUID with the file's extension, as Specify 7 names files. */
export function uniqueName(local) {
  const random = crypto.getRandomValues(new Uint8Array(16));
  random[6] = (random[6] & 0x0f) | 0x40;
  random[8] = (random[8] & 0x3f) | 0x80;
  const digits = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const groups = [[0, 8], [8, 12], [12, 16], [16, 20], [20, 32]].map(([from, to]) => digits.slice(from, to));
  return groups.join("-") + parts(local)[1];
}

function parts(name) {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
}
