/**
 * Cases that a property draws at random are the same in every run, so that a test fails for what was changed and not by
 * chance. `FC_SEED=7` draws others, and `.ci/nightly` draws others each time.
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env.FC_SEED ?? 20_261_101) });
