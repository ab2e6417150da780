/** What the API description says of an endpoint beside its schemas. Each stands next to the contract it describes. */
import type { z } from 'zod';

/** A body or an answer to show, and in a line what it is for. */
export type Example = { readonly summary?: string; readonly value: unknown };

/** The schemas of a body or of an answer by the names they have in the API description; it is one of them. */
export type Schemas = Readonly<Record<string, z.ZodType>>;

/** An endpoint: one `POST /functions/v1/<name>`. */
export type EndpointDescription = {
  readonly summary: string;
  readonly description: string;
  readonly request: Schemas;
  readonly requests: Readonly<Record<string, Example>>;
  /** The `data` of a 200. */
  readonly data: Schemas;
  /** Examples of that `data`. */
  readonly answers: Readonly<Record<string, Example>>;
};
