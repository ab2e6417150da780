import { handleHold } from './handler.ts';

export default { fetch: handleHold };
