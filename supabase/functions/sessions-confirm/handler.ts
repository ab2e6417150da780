import { parseConfirm } from '../_shared/contract/confirm.ts';
import { createHandler } from '../_shared/http.ts';

/** `POST /functions/v1/sessions-confirm`: turns a live hold into sessions, or moves the sessions it names. */
export const handleConfirm = createHandler(parseConfirm);
