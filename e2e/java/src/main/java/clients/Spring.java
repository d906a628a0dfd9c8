package clients;

import java.util.Collection;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.context.ConfigurableApplicationContext;

/**
 * A program that registers by Spring Cloud Netflix and says what it sees.
 *
 * <p>Arguments: port of the server, application, own port, application to look for. It leaves
 * when its standard input ends.
 */
@SpringBootApplication
public class Spring {
    public static void main(String[] arguments) throws InterruptedException {
        String app = arguments[1];
        String wanted = arguments[3];
        ConfigurableApplicationContext context =
                new SpringApplicationBuilder(Spring.class)
                        .web(WebApplicationType.NONE)
                        .properties(
                                "spring.main.banner-mode=off",
                                "logging.level.root=warn",
                                "spring.application.name=" + app,
                                "eureka.client.service-url.defaultZone=http://127.0.0.1:"
                                        + arguments[0] + "/eureka/",
                                // Jersey is there for Netflix's client, not for this one.
                                "eureka.client.jersey.enabled=false",
                                "eureka.client.registry-fetch-interval-seconds=1",
                                "eureka.client.initial-instance-info-replication-interval-seconds=0",
                                "eureka.instance.instance-id=" + app + "-spring",
                                "eureka.instance.hostname=localhost",
                                "eureka.instance.ip-address=127.0.0.1",
                                "eureka.instance.non-secure-port=" + arguments[2],
                                "eureka.instance.lease-renewal-interval-in-seconds=1",
                                "eureka.instance.lease-expiration-duration-in-seconds=4",
                                "eureka.instance.metadata-map.zone=z1")
                        .run();
        DiscoveryClient client = context.getBean(DiscoveryClient.class);
        Voice.say("registered");
        Voice.watch(() -> places(client, wanted));
        context.close();
        Voice.stopped();
        System.exit(0);
    }

    private static Collection<String> places(DiscoveryClient client, String wanted) {
        return client.getInstances(wanted).stream()
                .map(one -> address(one.getHost()) + ":" + one.getPort())
                .toList();
    }

    /** Spring tells the name of the host, others the address. */
    private static String address(String host) {
        return host.equals("localhost") ? "127.0.0.1" : host;
    }
}
