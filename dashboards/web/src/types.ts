// The JSON of the API. Times are unix milliseconds, enums are words.

export type ModelState = 'ok' | 'watch' | 'degraded' | 'failing' | 'learning' | 'silent' | 'muted';

export interface Model {
  id: string;
  family: string;
  region: string;
  team: string;
  version: string;
  state: ModelState;
  worst_metric: string;
  worst_sigma: number;
  score: number;
  trend: number;
  incident: string | null;
  learning_days_left: number;
  last_seen: number | null;
  caption: string;
}

export interface Ledger {
  budget_per_week: number;
  since: number;
  promised: number;
  sent: number;
}

export interface Coverage {
  models: number;
  reporting: number;
  learning: number;
  silent: number;
}

export interface FleetEvent {
  ts: number;
  until?: number;
  kind: string;
  subject: string;
  title: string;
}

export interface StaticFinding {
  kind: string;
  model: string;
  metric: string;
  since: number;
  text: string;
}

export interface Dependency {
  id: string;
  kind: string;
  team: string;
  members: number;
  moved: number;
  score: number;
  incident: string | null;
}

// A line of a list of incidents.
export interface IncidentSummary {
  id: string;
  state: 'open' | 'resolved' | 'merged';
  severity: 'info' | 'warning' | 'critical';
  paged: boolean;
  opened_at: number;
  started_at: number;
  updated_at: number;
  resolved_at: number | null;
  merged_into: string;
  cause: string;
  cause_kind: string;
  team: string;
  title: string;
  score: number;
  evidence: number;
  needed: number;
  moved: number;
  members: number;
  acked_at: number | null;
  acked_by: string;
}

export interface Suspect {
  dependency: string;
  kind: string;
  posterior: number;
  score: number;
  moved: number;
  members: number;
  explained: number;
  why: string;
}

export interface Affected {
  model: string;
  metric: string;
  sigma: number;
  since: number;
  ts?: number[];
  value?: (number | null)[];
  low?: number[];
  high?: number[];
}

export interface EvidencePoint {
  ts: number;
  ratio: number;
  moved: number;
}

export interface Note {
  ts: number;
  by: string;
  text: string;
}

export interface Delivery {
  ts: number;
  receiver: string;
  channel: string;
  state: string;
  answer: string;
}

export interface Incident extends IncidentSummary {
  why: string;
  first_look: string;
  expected_by_chance: number;
  explained: number;
  suspects: Suspect[];
  affected: Affected[];
  models: string[];
  metrics: string[];
  timeline: EvidencePoint[];
  events: FleetEvent[];
  notes: Note[];
  deliveries: Delivery[];
}

export interface HeatJson {
  ticks: number[];
  models: string[];  // whose rows they are
  scores: string;  // base64, model-major, 255 = no data
}

// GET /api/v1/fleet
export interface FleetJson {
  at: number;
  tick_seconds: number;
  learning: boolean;
  learning_days_left: number;
  series: number;
  samples: number;
  ledger: Ledger;
  coverage: Coverage;
  incidents: IncidentSummary[];
  recent_incidents: IncidentSummary[];
  models: Model[];
  dependencies: Dependency[];
  static_findings: StaticFinding[];
  events: FleetEvent[];
  heat?: HeatJson;
  version: string;
}

// One `tick` of GET /api/v1/stream: what differs from the version that the reader had. `models` are the new
// and the changed ones; `full` says that they are all there are.
export interface TickJson extends Omit<FleetJson, 'dependencies' | 'heat'> {
  full: boolean;
  removed: string[];
  dependencies?: Dependency[];
  column_at?: number;
  column?: string;
  heat?: HeatJson;
}

export interface IncidentNews {
  id: string;
  what: string;
}

export interface IncidentPage {
  incidents: IncidentSummary[];
  next: string | null;
}

export interface DemoJson {
  seed: number | string;
  running: boolean;
  faults: { kind: string; title: string }[];
  active: { kind: string; target: string; since: number }[];
  truth_url?: string;
}
