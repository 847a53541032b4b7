// Restoring many files from the trash: a dialog that first shows what happens, and then does it and shows the result.

import { bytes, count, counted, element, notice } from "./elements.js";

/** Restores everything that a selection (as for the data of the trash) has; `changed` is called at the end. */
export async function restoreSelection(server, selection, changed) {
  const dialog = new Restoring(changed);
  let plan;
  try {
    plan = await server.data("trash-plan", selection);
  } catch (fault) {
    dialog.fail(fault);
    return;
  }
  dialog.show(plan, async (replaces, report) => {
    let after = null;
    do {
      const choice = { ...(replaces ? { replace: "yes" } : {}), ...(after === null ? {} : { after }) };
      const done = await server.restoreAll({ ...selection, until: plan.until, ...choice });
      after = done.following;
      report(done);
    } while (after !== null && !dialog.isStopped);
  });
}

/** Restores some entries, of each name the latest. */
export function restoreEntries(server, entries, trashDays, changed) {
  const latest = new Map();
  for (const entry of entries) {
    const key = `${entry.place}/${entry.name}`;
    if (!latest.has(key) || latest.get(key).time < entry.time) {
      latest.set(key, entry);
    }
  }
  const chosen = [...latest.values()];
  const summary = (some) => ({
    number: some.length, bytes: some.reduce((sum, { size }) => sum + size, 0), names: some.slice(0, 10).map(({ name }) => name),
  });
  const plan = {
    restored: summary(chosen.filter(({ exists }) => !exists)),
    replacing: summary(chosen.filter(({ exists }) => exists)),
    older: entries.length - chosen.length,
    days: trashDays,
  };
  const dialog = new Restoring(changed);
  dialog.show(plan, async (replaces, report) => {
    for (const entry of chosen.filter(({ exists }) => replaces || !exists)) {
      if (dialog.isStopped) {
        return;
      }
      try {
        await server.restore(entry, entry.exists);
        report({ restored: entry.exists ? 0 : 1, replaced: entry.exists ? 1 : 0, failed: [] });
      } catch (fault) {
        if (!fault.status) {
          throw fault; // no connection
        }
        report({ restored: 0, replaced: 0, failed: [[entry.name, fault.message]] });
      }
    }
  });
}

class Restoring {
  constructor(changed) {
    this.dialog = document.getElementById("details");
    this.changed = changed;
    this.isStopped = false;
    this.content = element("div", {}, element("p", { role: "status" }, "Checking what can be restored …"));
    this.dialog.replaceChildren(element("h2", { id: "details-heading" }, "Restore files"), this.content);
    this.dialog.addEventListener("close", () => { this.isStopped = true; }, { once: true });
    this.dialog.showModal();
  }

  fail(fault) {
    this.content.replaceChildren(notice("error", fault.message), this.#closing());
  }

  /** Shows the plan. `act` does it: it is called with the choice, and a function for what was done. */
  show(plan, act) {
    const { restored, replacing } = plan;
    const canReplace = replacing.number > 0 && plan.days > 0;
    const choice = element("input", { type: "checkbox", id: "replaces", change: () => label() });
    const start = element("button", { type: "button", click: () => this.#run(plan, choice.checked, act) });
    const number = () => restored.number + (choice.checked ? replacing.number : 0);
    const label = () => {
      start.textContent = `Restore ${counted(number(), "file")}`;
      start.disabled = number() === 0;
    };
    label();
    this.content.replaceChildren(
      element("dl", { class: "plan" },
        part("Will be restored", restored, "No current file has one of these names."),
        part(canReplace ? "Would replace a current file" : "Cannot be restored", replacing, canReplace
          ? "The current files of the same names go to the trash."
          : "Files with these names exist, and without a trash (TRASH_DAYS is 0) they would be lost."),
        plan.older ? [element("dt", {}, "Stay in the trash"), element("dd", {},
          `${counted(plan.older, "older version")} of the same names. The latest version is restored.`)] : null),
      canReplace ? element("p", {}, element("label", { class: "row", for: choice.id }, choice,
        `Also restore ${replacing.number === 1 ? "this one" : `these ${count(replacing.number)}`}, and replace the current files`)) : "",
      element("p", { class: "row" }, start, this.#closing("Cancel")));
    start.focus();
  }

  async #run(plan, replaces, act) {
    const whole = plan.restored.number + (replaces ? plan.replacing.number : 0);
    const sum = { restored: 0, replaced: 0, failed: [] };
    const bar = element("progress", { max: whole, value: 0, "aria-label": "Progress of restoring" });
    const state = element("p", { role: "status" }, "Restoring …");
    this.content.replaceChildren(bar, state, element("p", {}, this.#closing("Stop")));
    let fault = null;
    try {
      await act(replaces, ({ restored, replaced, failed }) => {
        sum.restored += restored;
        sum.replaced += replaced;
        sum.failed.push(...failed);
        bar.value = sum.restored + sum.replaced + sum.failed.length;
        state.textContent = `${count(bar.value)} of ${counted(whole, "file")}`;
      });
    } catch (error) {
      fault = error;
    }
    this.#result(sum, fault);
    this.changed();
  }

  #result({ restored, replaced, failed }, fault) {
    const also = replaced ? `, ${count(replaced)} of them in place of a current file, which is in the trash now` : "";
    const names = failed.slice(0, 20).map(([name, reason]) => element("li", {}, `${name}: ${reason}`));
    this.content.replaceChildren(
      notice(failed.length || fault ? "warning" : "ok", `${counted(restored + replaced, "file was", "files were")} restored${also}.`),
      fault ? notice("error", fault.message) : "",
      failed.length ? element("div", {}, element("p", {}, `${counted(failed.length, "file was", "files were")} not restored:`), element("ul", {}, names)) : "",
      this.#closing());
  }

  #closing(text = "Close") {
    return element("button", { type: "button", class: "quiet", click: () => this.dialog.close() }, text);
  }
}

/** A kind of files in the plan, with some of their names. */
function part(title, { number, bytes: size, names }, meaning) {
  if (!number) {
    return null;
  }
  const more = number > names.length ? ` and ${count(number - names.length)} more` : "";
  return [
    element("dt", {}, `${title}: ${counted(number, "file")}, ${bytes(size)}`),
    element("dd", {}, meaning, element("span", { class: "fine names" }, names.join(", ") + more)),
  ];
}
