// What the page carries, by name: arrays are decoded when they are first asked for.
import { decode, fromLog, offset } from "./decode.mjs";

/** The page's document with readers for its arrays. */
export function createStore(data) {
  const arrays = new Map();
  const array = (part, name) => {
    const key = `${part}.${name}`;
    if (!arrays.has(key)) {
      arrays.set(key, decode(data[part][name]));
      data[part][name] = null;
    }
    return arrays.get(key);
  };
  const at = (part, name, ...indices) => {
    const found = array(part, name);
    return found.values[offset(found.shape, ...indices)];
  };
  data.findings = data.findings.found.map(([run, site, kind, severity, onset, text]) => ({ run, site, severity, onset, text, ...data.findings.kinds[kind] }));
  const rows = data.runs.map((run) => run.arm);
  const detail = new Map(data.detailed.map((site, place) => [site, place]));
  const metrics = new Map(data.metrics.map((metric, place) => [metric.name, place]));

  const headline = data.metrics.filter((metric) => metric.headline).map((metric) => metric.name);

  const curve = (name, ends, ...indices) => {
    const codes = array("series", name);
    const points = codes.shape[codes.shape.length - 1];
    const start = offset(codes.shape, ...indices);
    return Array.from(codes.values.subarray(start, start + points), (code) => fromLog(code, ends));
  };

  return {
    data,
    metric: (name) => data.metrics[metrics.get(name)],
    headline,
    /** This metric where it is a headline one, the first of these otherwise. */
    headlineOf: (name) => (headline.includes(name) ? name : headline[0]),
    runsOf: (arm) => rows.flatMap((own, run) => (own === arm ? [run] : [])),
    detail: (site) => detail.get(site),
    /** Whether any run of an arm has a capture. */
    captured: (arm) => data.runs.some((run) => run.arm === arm && run.step !== null),
    /** Relative depth of a site in the network of an arm; null where that has no such site. */
    depthOf: (arm, site) => (data.own_depths ? data.own_depths[arm][site] : data.depths[site]),
    /** {value, low, high, status} of a headline metric at a place among the steps. */
    point(name, run, step, site) {
      const where = [metrics.get(name), run, step, detail.get(site)];
      if (where[3] === undefined) return { value: NaN, low: NaN, high: NaN, status: "" };
      return {
        value: at("headline", "value", ...where),
        low: at("headline", "low", ...where),
        high: at("headline", "high", ...where),
        status: data.statuses[at("headline", "status", ...where)],
      };
    },
    /** {value, status, reason} of any metric at the last step of a run. */
    last(name, policy, run, site) {
      const where = [metrics.get(name), data.policies.indexOf(policy), run, detail.get(site)];
      if (where[3] === undefined || where[1] < 0) return { value: NaN, status: "", reason: "" };
      return {
        value: at("last", "value", ...where),
        status: data.statuses[at("last", "status", ...where)],
        reason: data.last.reasons[at("last", "reason", ...where)],
      };
    },
    /** {value, low, high, status} of what a contrast changes of a headline metric, at one of the places of the effects. */
    effect(name, contrast, place) {
      const where = [metrics.get(name), contrast, place];
      const [value, low, high] = ["value", "low", "high"].map((part) => at("effects", part, ...where));
      return { value, low, high, status: data.statuses[at("effects", "status", ...where)] };
    },
    /** A headline metric at the last step, at any site. */
    rest: (name, run, site) => at("last", "rest", metrics.get(name), run, site),
    /** Ranks of the points of a site's curves. */
    ranks(site) {
      const all = array("series", "rank");
      const start = offset(all.shape, detail.get(site));
      return Array.from(all.values.subarray(start, start + all.shape[1])).filter((rank) => rank > 0);
    },
    spectrum: (run, step, site) => curve("spectra", data.series.spectra_ends, run, step, detail.get(site)),
    floor: (run, step, site) => at("series", "floor", run, step, detail.get(site)),
    variances: (run, site) => curve("variances", data.series.variances_ends, run, detail.get(site)),
    losses: (run) => [data.runs[run].loss_step, data.runs[run].loss].map((pack) => Array.from(decode(pack).values)),
    /** Codes of a correlation heatmap, with the channels it is over; null where none was kept. */
    correlation(run, site) {
      const where = [data.pictures.runs.indexOf(run), data.pictures.sites.indexOf(site)];
      if (where.includes(-1)) return null;
      const codes = array("pictures", "correlations");
      const side = codes.shape[2];
      const start = offset(codes.shape, ...where);
      const numbers = array("pictures", "correlation_channels");
      const first = offset(numbers.shape, ...where);
      const own = codes.values.subarray(start, start + side * side);
      const count = own.length ? Array.from({ length: side }, (_, place) => own[place * side + place]).filter(Boolean).length : 0;
      return count ? { side, count, codes: own, channels: numbers.values.subarray(first, first + side) } : null;
    },
    /** Feature maps of one kept image, uint8; null where none were kept. */
    maps(run, site, image) {
      const where = [data.pictures.runs.indexOf(run), data.pictures.sites.indexOf(site)];
      if (where.includes(-1) || !data.pictures.maps[where[0]][where[1]]) return null;
      const all = decode(data.pictures.maps[where[0]][where[1]]);
      const [, channels, side] = all.shape;
      const start = offset(all.shape, image);
      return { side, channels, values: all.values.subarray(start, start + channels * side * side) };
    },
    /** Of how many images rows were kept. */
    rowImages(run, site) {
      const where = [data.pictures.runs.indexOf(run), data.pictures.sites.indexOf(site)];
      return where.includes(-1) ? 0 : data.pictures.row_images[where[0]][where[1]];
    },
    dominating(run, site) {
      const where = [data.pictures.runs.indexOf(run), data.pictures.sites.indexOf(site)];
      return where.includes(-1) ? [] : data.pictures.dominating[where[0]][where[1]];
    },
  };
}
