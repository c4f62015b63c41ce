// From the store to what a chart draws: means over seeds, bands, gaps with their reasons.

/** Mean, least and most of numbers; NaN ones count as missing. */
export function spread(values) {
  const known = values.filter((value) => !Number.isNaN(value));
  if (!known.length) return { mean: NaN, low: NaN, high: NaN };
  return { mean: known.reduce((a, b) => a + b, 0) / known.length, low: Math.min(...known), high: Math.max(...known) };
}

/** Sites of a kind among some, all of these where there is none of it. */
export function ofKind(store, kind, sites = store.data.detailed) {
  const own = sites.filter((site) => store.data.kinds[site] === kind);
  return own.length ? own : sites;
}

/** A metric through depth at the last step: {sites, arms: [{mean, low, high}], gaps}. */
export function throughDepth(store, name, sites) {
  const metric = store.metric(name);
  const gaps = new Map();
  const arms = store.data.arms.map((_, arm) => {
    const points = sites.map((site) => atSite(store, metric, arm, site, gaps));
    return { mean: points.map((p) => p.mean), low: points.map((p) => p.low), high: points.map((p) => p.high) };
  });
  return { sites, arms, gaps: [...gaps].map(([reason, places]) => ({ reason, places: [...places] })) };
}

function atSite(store, metric, arm, site, gaps) {
  const runs = store.runsOf(arm);
  const found = runs.map((run) => lastPoint(store, metric, run, site));
  for (const each of found) {
    if (!Number.isNaN(each.value) || !each.status) continue;
    const reason = `${each.status.replaceAll("_", " ")}${each.reason ? `: ${each.reason}` : ""}`;
    gaps.set(reason, (gaps.get(reason) ?? new Set()).add(site));
  }
  const over = spread(found.map((each) => each.value));
  const only = runs.length === 1 && metric.headline && found[0];
  return only && !Number.isNaN(only.low) ? { mean: over.mean, low: only.low, high: only.high } : over;
}

/** Value, interval and reason of a metric at the last step of a run, under the policy that it is drawn under. */
export function lastPoint(store, metric, run, site) {
  const policy = policyOf(store, metric, run, site);
  const found = store.last(metric.name, policy, run, site);
  const step = store.data.steps.indexOf(store.data.runs[run].step);
  if (!metric.headline || step < 0) return { ...found, low: NaN, high: NaN };
  const { low, high } = store.point(metric.name, run, step, site);
  return { ...found, low, high };
}

function policyOf(store, metric, run, site) {
  if (metric.policy) return metric.policy;
  const valued = store.data.policies.filter((policy) => !Number.isNaN(store.last(metric.name, policy, run, site).value));
  return valued[0] ?? store.data.policies[0];
}

/** A headline metric over the steps, the mean over some sites: {steps, arms: [{mean, low, high}]}. */
export function overSteps(store, name, sites) {
  const arms = store.data.arms.map((_, arm) => {
    const points = store.data.steps.map((_, step) =>
      spread(store.runsOf(arm).map((run) => spread(sites.map((site) => store.point(name, run, step, site).value)).mean)),
    );
    return { mean: points.map((p) => p.mean), low: points.map((p) => p.low), high: points.map((p) => p.high) };
  });
  return { x: store.data.steps, arms };
}

/** Sites of the metric's own kind in the last third of depth. */
export function lateSites(store, name) {
  const own = ofKind(store, store.metric(name).kind);
  const late = own.filter((site) => store.data.depths[site] >= store.data.late);
  return late.length ? late : own;
}

/** Means over the seeds of one arm, one row a site, one column a step. */
export function heat(store, name, arm, sites) {
  const runs = store.runsOf(arm);
  return sites.map((site) =>
    store.data.steps.map((_, step) => spread(runs.map((run) => store.point(name, run, step, site).value)).mean),
  );
}

/** The logged losses of all arms on one axis of steps. */
export function losses(store) {
  const runs = store.data.runs.map((_, run) => store.losses(run));
  const x = [...new Set(runs.flatMap(([steps]) => steps))].sort((a, b) => a - b);
  const tables = runs.map(([steps, values]) => new Map(steps.map((step, place) => [step, values[place]])));
  const arms = store.data.arms.map((_, arm) => {
    const own = store.runsOf(arm).map((run) => tables[run]);
    const points = x.map((step) => spread(own.map((table) => table.get(step) ?? NaN)));
    return { mean: points.map((p) => p.mean), low: points.map((p) => p.low), high: points.map((p) => p.high) };
  });
  return { x, arms };
}

/** Curves over directions or channels at one site: `read(run)` gives the values of a run, `relative` to the first. */
export function curves(store, site, read, relative) {
  const x = store.ranks(site);
  const arms = store.data.arms.map((_, arm) => {
    const own = store.runsOf(arm).map((run) => {
      const values = read(run).slice(0, x.length);
      return relative ? values.map((value) => value / values[0]) : values;
    });
    const points = x.map((_, place) => spread(own.map((values) => values[place])));
    return { mean: points.map((p) => p.mean), low: points.map((p) => p.low), high: points.map((p) => p.high) };
  });
  return { x, arms };
}

/** Every site, the worst first: by what was found there, then by the metric in the direction of collapse. */
export function worstFirst(store, name) {
  const { data } = store;
  const metric = store.metric(name);
  const bad = new Float64Array(data.sites.length);
  for (const each of data.findings) bad[each.site] = Math.max(bad[each.site], each.fault + each.severity);
  const sign = metric.collapse === "high" ? -1 : 1;
  const mean = data.sites.map((_, site) => spread(data.runs.map((_, run) => store.rest(name, run, site))).mean);
  const key = (site) => (Number.isNaN(mean[site]) ? Infinity : sign * mean[site]);
  return data.sites.map((_, site) => site).sort((a, b) => bad[b] - bad[a] || key(a) - key(b) || a - b);
}
