/** The harness of these tests: what is not in lock step fails, at once and by name. */
import { expect, it } from 'vitest';
import { inLockStep } from '../setup/lockstep.ts';

const lock = 'select pg_advisory_xact_lock($1)';

it('a statement that should wait but does not fails with how it ended', async () => {
  await inLockStep({ anna: 'owner', ben: 'owner' }, async ({ anna, ben }) => {
    await anna.does('begin');
    await anna.does(lock, [71]);
    await expect(ben.waitsFor(anna, 'select 1 as one')).rejects.toThrow(
      'ben did not wait but ended with {"rows":[{"one":1}]}: select 1 as one',
    );
  });
});

it('a statement that should not wait but does fails with what it waits for and whom', async () => {
  await inLockStep({ anna: 'owner', ben: 'owner' }, async ({ anna, ben }) => {
    await anna.does('begin');
    await anna.does(lock, [72]);
    await expect(ben.does(lock, [72])).rejects.toThrow('ben had to wait for anna (advisory)');
  });
});

it('a cycle is seen before the database looks for one', async () => {
  await inLockStep({ anna: 'owner', ben: 'owner' }, async ({ anna, ben }) => {
    for (const each of [anna, ben]) await each.does('begin');
    await anna.does(lock, [73]);
    await ben.does(lock, [74]);
    await anna.waitsFor(ben, lock, [74]);
    await expect(ben.does(lock, [73])).rejects.toThrow('ben had to wait for anna');
  });
});

it('three can queue, each behind whoever is before it', async () => {
  await inLockStep({ anna: 'owner', ben: 'owner', cleo: 'owner' }, async ({ anna, ben, cleo }) => {
    for (const each of [anna, ben, cleo]) await each.does('begin');
    await anna.does(lock, [75]);
    const second = await ben.waitsFor(anna, lock, [75]);
    const third = await cleo.waitsFor(ben, lock, [75]);
    await anna.does('commit');
    expect(await second.ends()).toHaveProperty('rows');
    await ben.does('commit');
    expect(await third.ends()).toHaveProperty('rows');
  });
});

it('an error of the database is how a statement ends that waited; one that was to be done fails the test', async () => {
  await inLockStep({ anna: 'owner', ben: 'owner' }, async ({ anna, ben }) => {
    const [{ pid }] = (await ben.does('select pg_backend_pid() as pid')) as [{ pid: number }];
    await anna.does('begin');
    await anna.does(lock, [76]);
    const waiting = await ben.waitsFor(anna, lock, [76]);
    await anna.does('select pg_cancel_backend($1)', [pid]);
    expect(await waiting.ends()).toMatchObject({ sqlstate: '57014' });
    await expect(ben.does('select nonsense')).rejects.toThrow('ben: 42703');
  });
});
