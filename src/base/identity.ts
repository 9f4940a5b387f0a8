// Who a client is, as authentication found it: what access rules are written for. Its client id is another matter: it names a session.

export interface Identity {
  /** User name; "" = anonymous. */
  readonly user: string;
  readonly groups: readonly string[];
}

export const ANONYMOUS: Identity = { user: "", groups: [] };
