import { handleNotes } from './handler.ts';

export default { fetch: handleNotes };
