import { handleDetails } from './handler.ts';

export default { fetch: handleDetails };
