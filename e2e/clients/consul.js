// A whole life by the npm package `consul`: register, heartbeat, query, watch, deregister,
// register again after a loss, keys and a lock. Argument: the agent's port. Says each step
// that went well, a JSON object a line, and ends with 1 at the first that did not.

const assert = require('node:assert');
const { once } = require('node:events');

const Consul = require(`${process.env.NODE_PATH}/consul`);

const port = Number(process.argv[2]);
const consul = new Consul({ host: '127.0.0.1', port });
const say = (step) => process.stdout.write(`${JSON.stringify({ event: step })}\n`);

const service = {
  name: 'orders',
  id: 'orders-1',
  address: '127.0.0.1',
  port: 9001,
  tags: ['v1'],
  meta: { team: 'shop' },
  check: { ttl: '30s', notes: 'told by the service' },
};
const beat = () => consul.agent.check.pass({ id: 'service:orders-1', note: 'fine' });
const passing = async () => {
  const entries = await consul.health.service({ service: 'orders', passing: true });
  return entries.map((entry) => entry.Service.ID).sort();
};

const steps = {
  async registers() {
    await consul.agent.service.register(service);
    assert.deepEqual(await passing(), []);
    const services = await consul.agent.services();
    assert.equal(services['orders-1'].Port, 9001);
    assert.deepEqual(services['orders-1'].Meta, { team: 'shop' });
  },

  async beats() {
    await beat();
    assert.deepEqual(await passing(), ['orders-1']);
    const checks = await consul.agent.checks();
    const check = checks['service:orders-1'];
    assert.deepEqual([check.Status, check.Output, check.Notes], ['passing', 'fine', 'told by the service']);
    await consul.agent.check.warn({ id: 'service:orders-1', note: 'slow' });
    assert.deepEqual(await passing(), []);
    await beat();
  },

  async queries() {
    assert.deepEqual((await consul.catalog.service.list()).orders, ['v1']);
    const [node] = await consul.catalog.service.nodes('orders');
    assert.deepEqual([node.ServiceID, node.ServicePort], ['orders-1', 9001]);
    const [check] = await consul.health.checks('orders');
    assert.equal(check.CheckID, 'service:orders-1');
    const self = await consul.agent.self();
    assert.equal(self.Config.Datacenter, 'dc1');
    assert.match(await consul.status.leader(), /:\d+$/);
    const on = await consul.catalog.node.services(self.Config.NodeName);
    assert.equal(on.Services['orders-1'].Service, 'orders');
  },

  async watches() {
    const watch = consul.watch({
      method: consul.health.service,
      options: { service: 'orders', passing: true, wait: '30s' },
    });
    watch.on('error', (error) => {
      throw error;
    });
    const [first] = await once(watch, 'change');
    assert.equal(first.length, 1);
    const changed = once(watch, 'change');
    await consul.agent.service.register({ ...service, id: 'orders-2', check: undefined });
    const [second] = await changed;
    assert.deepEqual(second.map((entry) => entry.Service.ID).sort(), ['orders-1', 'orders-2']);
    watch.end();
    await consul.agent.service.deregister('orders-2');
  },

  async registersAgainAfterALoss() {
    const other = new Consul({ host: '127.0.0.1', port });
    await other.agent.service.deregister('orders-1');
    assert.deepEqual(await passing(), []);
    await assert.rejects(beat(), (error) => error.statusCode === 404);
    await consul.agent.service.register(service);
    await beat();
    assert.deepEqual(await passing(), ['orders-1']);
  },

  async keepsKeys() {
    assert.equal(await consul.kv.set('app/name', 'orders'), true);
    const kept = await consul.kv.get('app/name');
    assert.equal(kept.Value, 'orders');
    // The package gives nothing at all where the agent says false.
    assert.ok(!(await consul.kv.set({ key: 'app/name', value: 'x', cas: '1' })));
    assert.equal(await consul.kv.set({ key: 'app/name', value: 'y', cas: kept.ModifyIndex }), true);
    assert.deepEqual(await consul.kv.keys('app/'), ['app/name']);
    await consul.kv.del('app/name');
    assert.equal(await consul.kv.get('app/name'), undefined);
  },

  async locks() {
    const create = () => consul.session.create({ name: 'lock', ttl: '30s', lockdelay: '0s' });
    const [mine, theirs] = [(await create()).ID, (await create()).ID];
    const take = (acquire) => consul.kv.set({ key: 'lock/orders', value: 'held', acquire });
    assert.equal(await take(mine), true);
    assert.ok(!(await take(theirs)));
    assert.equal((await consul.kv.get('lock/orders')).Session, mine);
    assert.equal(await consul.kv.set({ key: 'lock/orders', value: '', release: mine }), true);
    assert.equal(await take(theirs), true);
    await consul.session.destroy(theirs);
    assert.equal((await consul.kv.get('lock/orders')).Session, undefined);
    await consul.session.destroy(mine);
  },

  async deregisters() {
    await consul.agent.service.deregister('orders-1');
    assert.deepEqual(await consul.health.service('orders'), []);
  },
};

(async () => {
  for (const [name, step] of Object.entries(steps)) {
    await step();
    say(name);
  }
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
