import { withAlternatives } from '../_shared/alternatives.ts';
import { parseHold } from '../_shared/contract/hold.ts';
import { createHandler } from '../_shared/http.ts';

/** `POST /functions/v1/sessions-hold`: claims one slot or a whole series, all or nothing, for a few minutes. */
export const handleHold = createHandler(parseHold, withAlternatives);
