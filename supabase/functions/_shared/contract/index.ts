/** The HTTP contract, once. Handlers parse with it; `openapi.yaml`, `docs/codes.md` and the client's types come from it. */
export {
  type CancelData,
  type CancelRequest,
  cancelData,
  cancelEndpoint,
  cancellationAttribution,
  cancelRequest,
  MAX_SESSION_IDS,
  parseCancel,
  type ReleaseData,
  releaseData,
  releaseRequest,
} from './cancel.ts';
export {
  type ClientDetails,
  clientDetails,
  clientName,
  type DetailsReadData,
  type DetailsRequest,
  type DetailsSavedData,
  detailsEndpoint,
  detailsReadData,
  detailsSavedData,
  MAX_CLIENTS,
  type NamesReadData,
  namesReadData,
  namesRequest,
  parseDetails,
  readDetailsRequest,
  saveDetailsRequest,
} from './client-details.ts';
export {
  type CodeEntry,
  type Endpoint,
  ERROR_CODES,
  type ErrorCode,
  isErrorCode,
  problemType,
} from './codes.ts';
export {
  type ConfirmData,
  type ConfirmRequest,
  confirmData,
  confirmEndpoint,
  confirmRequest,
  parseConfirm,
  sessionRow,
} from './confirm.ts';
export type { EndpointDescription, Example, Schemas } from './endpoint.ts';
export { ids as exampleIds } from './examples.ts';
export { IDEMPOTENCY_KEY_RULE, readIdempotencyKey, readRequestId } from './headers.ts';
export {
  type HoldData,
  type HoldRequest,
  holdData,
  holdEndpoint,
  holdRequest,
  OVERRIDABLE_RULES,
  OVERRIDE_RULES,
  parseHold,
  seriesHoldRequest,
} from './hold.ts';
export type { InputErrorCode, Issue, Parsed, RpcCall } from './parsed.ts';
export {
  type Alternative,
  alternative,
  type Conflict,
  conflict,
  conflictProblem,
  invalidRequestProblem,
  issue,
  type Problem,
  problem,
  type Shortage,
  shortage,
} from './problem.ts';
export { MAX_SEALED_BYTES } from './sealed.ts';
export {
  amendRequest,
  historyRequest,
  missingForSignature,
  type NoteContent,
  type NoteHistoryData,
  type NoteReadData,
  type NoteRequest,
  type NoteSavedData,
  noteContent,
  noteEndpoint,
  noteHistoryData,
  noteReadData,
  noteSavedData,
  noteVersion,
  parseNote,
  readRequest,
  saveDraftRequest,
  signRequest,
} from './session-notes.ts';
export { MAX_OCCURRENCES } from './windows.ts';
