/** `client-details`: who a client is. Sealed before the database sees it; `public.clients` has a file number only. */
import { z } from 'zod';
import type { EndpointDescription } from './endpoint.ts';
import { ids } from './examples.ts';
import { type Parsed, parseWith } from './parsed.ts';
import { expected, integer, list, optional, optionalText, text, uuid } from './primitives.ts';
import { actionError, baseVersion, fits, isoInstant, rowId } from './sealed.ts';

/** Most clients read at once: a schedule of names in one call. */
export const MAX_CLIENTS = 100;

/** A civil date that exists, in the last two centuries. Whether it is past is not looked at. */
function birthDate() {
  return z
    .string({ error: expected('a date like 2019-03-09') })
    .refine(
      (date) => {
        const midnight = new Date(/^(?:19|20)\d\d-\d\d-\d\d$/.test(date) ? `${date}T00:00:00Z` : Number.NaN);
        return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(date);
      },
      { error: 'must be a date that exists, like 2019-03-09' },
    )
    .meta({ format: 'date', examples: ['2019-03-09'] });
}

const contact = z.object(
  {
    kind: z.enum(['phone', 'email', 'other'], { error: expected('"phone", "email" or "other"') }),
    value: text(200),
    label: optionalText(100).meta({ inputExamples: ['mobile'] }),
  },
  { error: expected('an object') },
);

/** Identifying details of a client. */
export const clientDetails = z
  .object(
    {
      given_name: text(100),
      family_name: text(100),
      preferred_name: optionalText(100),
      birth_date: optional(birthDate()),
      contacts: optional(list(contact, 0, 20)),
      guardians: optional(
        list(
          z.object(
            {
              name: text(200),
              relationship: optionalText(100).meta({ inputExamples: ['mother'] }),
              contacts: optional(list(contact, 0, 20)),
            },
            { error: expected('an object') },
          ),
          0,
          10,
        ),
      ),
      address: optional(
        z.object(
          {
            line1: text(200),
            line2: optionalText(200),
            city: optionalText(100),
            region: optionalText(100).meta({ inputExamples: ['CA'] }),
            postal_code: optionalText(20),
            country: optionalText(100),
          },
          { error: expected('an object') },
        ),
      ),
      insurance_member_ids: optional(list(text(100), 0, 10)),
      remarks: optionalText(10_000),
    },
    { error: expected('an object') },
  )
  .meta({ id: 'ClientDetails' });
export type ClientDetails = z.output<typeof clientDetails>;

const saveRequest = z.object({
  action: z.literal('save'),
  client_id: uuid(),
  base_version: baseVersion(),
  details: fits(clientDetails).meta({ description: 'All of them: a save replaces what was there.' }),
});

const readRequest = z
  .object({
    action: z.literal('read'),
    client_ids: list(uuid(), 1, MAX_CLIENTS).meta({
      description: 'Any id out of the caller’s scope refuses the whole request.',
    }),
    version: optional(integer(1, 1_000_000)).meta({
      description: 'An earlier version, of one client. Left out: the newest.',
    }),
  })
  .superRefine(({ client_ids, version }, context) => {
    if (version !== undefined && new Set(client_ids).size > 1) {
      context.addIssue({ code: 'custom', path: ['version'], message: 'goes with one client' });
    }
  });

const namesRequest = z.object({
  action: z.literal('names'),
  client_ids: list(uuid(), 1, MAX_CLIENTS).meta({
    description: 'Ids out of the caller’s scope, and ids of nobody, are answered in `notReadable`.',
  }),
});

const detailsRequest = z.discriminatedUnion('action', [saveRequest, readRequest, namesRequest], {
  error: actionError('"save", "read" or "names"'),
});

/** Saves a client's details as a further version. Admins only. */
export { namesRequest, readRequest as readDetailsRequest, saveRequest as saveDetailsRequest };

/** What a caller of `client-details` sends. */
export type DetailsRequest = z.input<typeof detailsRequest>;

/** Reads a `client-details` body. */
export function parseDetails(body: unknown): Parsed<z.output<typeof detailsRequest>> {
  const parsed = parseWith(detailsRequest, body);
  if (!parsed.ok || parsed.value.action === 'save') return parsed;
  return { ok: true, value: { ...parsed.value, client_ids: [...new Set(parsed.value.client_ids)] } };
}

/** The `data` of saved details. */
export const detailsSavedData = z.object({
  client: z.object({
    clientId: rowId(),
    versionId: rowId(),
    version: z.number().int().min(1),
    savedAt: isoInstant(),
  }),
});

/** The `data` of read details, in the order asked for. Nulls where nothing was saved. */
export const detailsReadData = z.object({
  clients: z.array(
    z.object({
      clientId: rowId(),
      versionId: rowId().nullable(),
      version: z.number().int().min(1).nullable(),
      savedAt: isoInstant().nullable(),
      details: clientDetails.nullable().meta({ description: 'As they were saved.' }),
    }),
  ),
});

/** What a client is called: no more of the details than a schedule needs. */
export const clientName = z
  .object({ given_name: z.string(), family_name: z.string(), preferred_name: z.string().optional() })
  .meta({ id: 'ClientName' });

/** The `data` of read names, in the order asked for. Null where nothing was saved. */
export const namesReadData = z.object({
  clients: z.array(z.object({ clientId: rowId(), name: clientName.nullable() })),
  notReadable: z.array(rowId()).meta({
    description:
      'Of the ids asked for those that answer no name, for whatever reason. Each refuses itself alone.',
  }),
});

export type NamesReadData = z.output<typeof namesReadData>;
export type DetailsSavedData = z.output<typeof detailsSavedData>;
export type DetailsReadData = z.output<typeof detailsReadData>;

const exampleDetails = {
  given_name: 'Sample',
  family_name: 'Client',
  birth_date: '2019-03-09',
  guardians: [{ name: 'Sample Guardian', relationship: 'mother' }],
};
const exampleVersion = {
  clientId: ids.client,
  versionId: '4c2b7a9e-5d0c-4f6a-8a0b-6f9d1c2e3b40',
  version: 1,
  savedAt: '2026-11-25T17:00:00.000Z',
};

/** How the API description shows `client-details`. */
export const detailsEndpoint: EndpointDescription = {
  summary: 'Save or read who a client is',
  description:
    'Names, birth date, contacts, guardians and address, sealed (AES-256-GCM) before the database sees them. Admins save; therapists read the clients on their caseload, users of role client their own. A schedule needs `names` alone: one client out of scope hides nobody else’s. Versions are kept. Every read and every attempt is recorded. Reading ignores `Idempotency-Key`.',
  request: {
    DetailsSaveRequest: saveRequest,
    DetailsReadRequest: readRequest,
    NamesReadRequest: namesRequest,
  },
  requests: {
    save: {
      summary: 'Save a client’s details',
      value: { action: 'save', client_id: ids.client, base_version: 0, details: exampleDetails },
    },
    read: { summary: 'Read several clients’', value: { action: 'read', client_ids: [ids.client] } },
    names: {
      summary: 'Read the names for a schedule',
      value: { action: 'names', client_ids: [ids.client, ids.otherClient] },
    },
  },
  data: {
    DetailsSavedData: detailsSavedData,
    DetailsReadData: detailsReadData,
    NamesReadData: namesReadData,
  },
  answers: {
    saved: { value: { client: exampleVersion } },
    read: { value: { clients: [{ ...exampleVersion, details: exampleDetails }] } },
    names: {
      value: {
        clients: [{ clientId: ids.client, name: { given_name: 'Sample', family_name: 'Client' } }],
        notReadable: [ids.otherClient],
      },
    },
  },
};
