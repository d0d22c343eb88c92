// Freshness: from the collector's answer to the first shelf whose based_on covers the event. What never came is counted.

const PATIENCE_MS = 15_000;

export class Freshness {
  constructor(onChange) {
    this.onChange = onChange;
    this.entries = []; // newest first: {id, occurredAt, label, answeredAt?, ms?, missed?}
  }

  sent(entry) {
    this.entries.unshift(entry);
    this.onChange();
    return entry;
  }

  accepted(entry, answeredAt) {
    entry.answeredAt = answeredAt;
    // The shelf may have been faster than the collector's answer.
    if (entry.coveredAt !== undefined) this.#measure(entry, entry.coveredAt);
    setTimeout(() => { if (entry.ms === undefined) { entry.missed = true; this.onChange(); } }, PATIENCE_MS);
    this.onChange();
  }

  failed(entry, why) {
    entry.failed = why;
    this.onChange();
  }

  shelf(basedOn, at) {
    if (!basedOn) return;
    for (const entry of this.entries) {
      if (entry.ms !== undefined || entry.failed || !covers(basedOn, entry)) continue;
      if (entry.answeredAt === undefined) entry.coveredAt ??= at;
      else this.#measure(entry, at);
    }
    this.onChange();
  }

  #measure(entry, at) {
    entry.ms = Math.max(0, Math.round(at - entry.answeredAt));
    entry.missed = false;
  }

  get last() { return this.entries.find((entry) => entry.ms !== undefined)?.ms; }

  get median() {
    const values = this.entries.filter((entry) => entry.ms !== undefined).map((entry) => entry.ms).sort((a, b) => a - b);
    if (!values.length) return undefined;
    const middle = values.length >> 1;
    return values.length % 2 ? values[middle] : Math.round((values[middle - 1] + values[middle]) / 2);
  }

  get counts() {
    const measured = this.entries.filter((entry) => entry.ms !== undefined).length;
    const missed = this.entries.filter((entry) => entry.missed && entry.ms === undefined).length;
    return { measured, missed };
  }
}

// Events are ordered by (occurred_at, event_id), as everywhere in the system.
export function covers(basedOn, { occurredAt, id }) {
  return basedOn.occurred_at > occurredAt || (basedOn.occurred_at === occurredAt && basedOn.event_id >= id);
}
