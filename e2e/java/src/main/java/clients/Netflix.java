package clients;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.EurekaInstanceConfig;
import com.netflix.appinfo.InstanceInfo.InstanceStatus;
import com.netflix.appinfo.MyDataCenterInstanceConfig;
import com.netflix.discovery.DefaultEurekaClientConfig;
import com.netflix.discovery.DiscoveryClient;
import com.netflix.discovery.EurekaClient;
import com.netflix.discovery.shared.Application;
import com.netflix.discovery.shared.transport.jersey3.Jersey3TransportClientFactories;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * A program that registers by Netflix's client and says what it sees.
 *
 * <p>Arguments: port of the server, application, own port, application to look for. It leaves
 * when its standard input ends.
 */
public final class Netflix {
    private Netflix() {}

    public static void main(String[] arguments) throws InterruptedException {
        String server = arguments[0];
        String wanted = arguments[3];
        Instance instance = new Instance(arguments[1], Integer.parseInt(arguments[2]));
        ApplicationInfoManager manager =
                new ApplicationInfoManager(instance, (ApplicationInfoManager.OptionalArgs) null);
        manager.setInstanceStatus(InstanceStatus.UP);
        EurekaClient client =
                new DiscoveryClient(
                        manager, new Settings(server), Jersey3TransportClientFactories.getInstance());
        Voice.say("registered");
        Voice.watch(() -> places(client.getApplication(wanted)));
        client.shutdown();
        Voice.stopped();
        System.exit(0);
    }

    private static Collection<String> places(Application application) {
        if (application == null) {
            return List.of();
        }
        return application.getInstances().stream()
                .map(one -> one.getIPAddr() + ":" + one.getPort())
                .toList();
    }

    private static final class Instance extends MyDataCenterInstanceConfig
            implements EurekaInstanceConfig {
        private final String app;
        private final int port;

        private Instance(String app, int port) {
            this.app = app;
            this.port = port;
        }

        @Override
        public String getAppname() {
            return app;
        }

        @Override
        public String getVirtualHostName() {
            return app;
        }

        @Override
        public String getInstanceId() {
            return app + "-netflix";
        }

        @Override
        public String getHostName(boolean refresh) {
            return "localhost";
        }

        @Override
        public String getIpAddress() {
            return "127.0.0.1";
        }

        @Override
        public int getNonSecurePort() {
            return port;
        }

        @Override
        public int getLeaseRenewalIntervalInSeconds() {
            return 1;
        }

        @Override
        public int getLeaseExpirationDurationInSeconds() {
            return 4;
        }

        @Override
        public Map<String, String> getMetadataMap() {
            return Map.of("zone", "z1");
        }
    }

    private static final class Settings extends DefaultEurekaClientConfig {
        private final String server;

        private Settings(String server) {
            this.server = server;
        }

        @Override
        public List<String> getEurekaServerServiceUrls(String zone) {
            return List.of("http://127.0.0.1:" + server + "/eureka/v2/");
        }

        @Override
        public int getRegistryFetchIntervalSeconds() {
            return 1;
        }

        @Override
        public int getInitialInstanceInfoReplicationIntervalSeconds() {
            return 0;
        }
    }
}
