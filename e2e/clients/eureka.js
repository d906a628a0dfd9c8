// A program that registers by eureka-js-client or its fork and says what it sees, a JSON object
// a line. Arguments: port of the server, application, own port, application to look for, package,
// and what its instance's id ends in. It leaves when its standard input ends.

const [, , port, app, own, wanted, library, ending] = process.argv;
const { Eureka } = require(`${process.env.NODE_PATH}/${library}`);
const quiet = () => {};
const client = new Eureka({
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  shouldUseDelta: true,
  instance: {
    instanceId: `${app}-${ending}`,
    app,
    hostName: 'localhost',
    ipAddr: '127.0.0.1',
    port: { $: Number(own), '@enabled': 'true' },
    vipAddress: app,
    statusPageUrl: `http://localhost:${own}/info`,
    metadata: { 'made-by': 'js', zone: 'z1' },
    dataCenterInfo: {
      '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo',
      name: 'MyOwn',
    },
    leaseInfo: { renewalIntervalInSecs: 1, durationInSecs: 4 },
  },
  eureka: {
    host: '127.0.0.1',
    port: Number(port),
    servicePath: '/eureka/apps/',
    heartbeatInterval: 500,
    registryFetchInterval: 500,
    maxRetries: 1,
  },
});

const say = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);
// What a delta says is not up any more stays in the library's list, with its status.
const places = (instances) =>
  instances.filter((one) => one.status === 'UP').map((one) => `${one.ipAddr}:${one.port.$}`).sort();

client.on('started', () => say({ event: 'started' }));
client.on('registered', () => say({ event: 'registered' }));
client.on('heartbeat', () => say({ event: 'heartbeat' }));
client.start((error) => {
  if (error) say({ event: 'failed', error: String(error) });
  // The library tells nobody when a delta has changed something.
  setInterval(() => {
    say({ event: 'seen', places: places(client.getInstancesByVipAddress(wanted)) });
  }, 200);
});
process.stdin.resume();
process.stdin.on('end', () =>
  client.stop((error) => {
    say({ event: 'stopped', error: error ? String(error) : null });
    process.exit(error ? 1 : 0);
  }));
