import { parseCancel } from '../_shared/contract/cancel.ts';
import { createHandler } from '../_shared/http.ts';

/** `POST /functions/v1/sessions-cancel`: releases a hold, or cancels sessions. */
export const handleCancel = createHandler(parseCancel);
