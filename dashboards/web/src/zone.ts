import { clock } from './format';

// Sentences come from the server with times of day in UTC ("shifted since 14:20"); a page shows its reader's.
// The day is the last one on which that time lies before `near`.
export function in_readers_zone(sentence: string, near: number): string {
  return sentence.replace(/\bsince (\d\d):(\d\d)\b/g, (_, hours: string, minutes: string) => {
    const day = 86_400_000;
    const of_day = (Number(hours) * 60 + Number(minutes)) * 60_000;
    let ts = Math.floor(near / day) * day + of_day;
    if (ts > near) ts -= day;
    return `since ${clock(ts)}`;
  });
}

export function model_here<T extends { caption: string }>(model: T, near: number): T {
  return model.caption.includes('since ') ? { ...model, caption: in_readers_zone(model.caption, near) } : model;
}

export function incident_here<T extends { title: string; updated_at: number; why?: string; first_look?: string }>(i: T): T {
  const here = { ...i, title: in_readers_zone(i.title, i.updated_at) };
  if (i.why !== undefined) here.why = in_readers_zone(i.why, i.updated_at);
  if (i.first_look !== undefined) here.first_look = in_readers_zone(i.first_look, i.updated_at);
  return here;
}
