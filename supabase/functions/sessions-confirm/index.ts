import { handleConfirm } from './handler.ts';

export default { fetch: handleConfirm };
