export class Fleet {
  constructor(of?: { size?: number; seed?: number; at?: number; learning?: boolean; quiet?: boolean });
  at: number;
  json(parts?: string): any;
  tick(): any;
  detail(id: string): any;
}
