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

/** Those of some sites that an arm's network has. */
export function sitesOf(store, arm, sites) {
  return sites.filter((site) => store.depthOf(arm, site) !== null);
}

/** What a chart of one site says of the arms whose network has no such site: [name, what it lacks]. */
export function lacking(store, site) {
  return store.data.arms.flatMap((each, arm) => (store.captured(arm) && store.depthOf(arm, site) === null ? [[each.name, "no such site"]] : []));
}

/** Columns {depth, of} of a chart through depth: `of` gives for each arm the site that it has there, or null. One a site
 * where an arm has all of them; one a relative depth (`relative`) where networks have each their own. */
export function depthColumns(store, sites) {
  const arms = store.data.arms.map((_, arm) => arm);
  const whole = arms.some((arm) => sitesOf(store, arm, sites).length === sites.length);
  if (whole) return { relative: false, columns: sites.map((site) => ({ depth: store.data.depths[site], of: arms.map((arm) => (store.depthOf(arm, site) === null ? null : site)) })) };
  const columns = new Map();
  for (const arm of arms) {
    for (const site of sitesOf(store, arm, sites)) {
      const depth = Number(store.depthOf(arm, site).toFixed(6));
      const own = columns.get(depth) ?? { depth, of: arms.map(() => null) };
      own.of[arm] = site;
      columns.set(depth, own);
    }
  }
  return { relative: true, columns: [...columns.values()].sort((a, b) => a.depth - b.depth) };
}

/** A metric at the last step: {arms: [{mean, low, high}], gaps}; undefined where an arm has no site in a column, NaN where
 * it has one without a value. */
export function throughDepth(store, name, columns) {
  const metric = store.metric(name);
  const gaps = new Map();
  const arms = store.data.arms.map((_, arm) => {
    const points = columns.map(({ of }) => (of[arm] === null ? {} : atSite(store, metric, arm, of[arm], gaps)));
    return { mean: points.map((p) => p.mean), low: points.map((p) => p.low), high: points.map((p) => p.high) };
  });
  return { arms, gaps: listed(gaps) };
}

const listed = (gaps) => [...gaps].map(([reason, places]) => ({ reason, places: [...places] }));

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
  const found = store.data.policies.map((policy) => ({ policy, ...store.last(metric.name, policy, run, site) }));
  return (found.find((each) => !Number.isNaN(each.value)) ?? found.find((each) => each.status) ?? found[0]).policy;
}

/** A headline metric over the steps, the mean over the sites `sites(arm)`: {x, arms: [{mean, low, high}], gaps}. */
export function overSteps(store, name, sites) {
  const gaps = new Map();
  const arms = store.data.arms.map((_, arm) => {
    const points = store.data.steps.map((_, step) => {
      const found = store.runsOf(arm).map((run) => sites(arm).map((site) => ({ site, ...store.point(name, run, step, site) })));
      for (const each of found.flat()) {
        const reason = each.status.replaceAll("_", " ");
        if (Number.isNaN(each.value) && reason) gaps.set(reason, (gaps.get(reason) ?? new Set()).add(each.site));
      }
      return spread(found.map((own) => spread(own.map((each) => each.value)).mean));
    });
    return { mean: points.map((p) => p.mean), low: points.map((p) => p.low), high: points.map((p) => p.high) };
  });
  return { x: store.data.steps, arms, gaps: listed(gaps) };
}

/** Sites of an arm, of the metric's own kind, in the last third of its depth. */
export function lateSites(store, name, arm) {
  const own = sitesOf(store, arm, ofKind(store, store.metric(name).kind));
  const late = own.filter((site) => store.depthOf(arm, site) >= store.data.late);
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

/** Every site, the worst first: faults before notes, each by severity, then by the metric's mean over the seeds in the
 * arm that is nearest to collapse. */
export function worstFirst(store, name) {
  const { data } = store;
  const bad = new Float64Array(data.sites.length);
  for (const each of data.findings) bad[each.site] = Math.max(bad[each.site], each.fault + each.severity);
  const sign = store.metric(name).collapse === "high" ? -1 : 1;
  const means = (site) => data.arms.map((_, arm) => spread(store.runsOf(arm).map((run) => store.rest(name, run, site))).mean);
  const keys = data.sites.map((_, site) => Math.min(...means(site).map((mean) => (Number.isNaN(mean) ? Infinity : sign * mean))));
  const key = (site) => keys[site];
  return data.sites.map((_, site) => site).sort((a, b) => bad[b] - bad[a] || key(a) - key(b) || a - b);
}
