package clients;

import java.io.IOException;
import java.util.Collection;
import java.util.TreeSet;
import java.util.function.Supplier;

/** What a program says: a JSON object a line. */
final class Voice {
    private static final int LOOK_MILLIS = 200;

    private Voice() {}

    static void say(String event) {
        line("{\"event\": \"" + event + "\"}");
    }

    static void stopped() {
        line("{\"event\": \"stopped\", \"error\": null}");
    }

    /** Says again and again where instances are, until the standard input ends. */
    static void watch(Supplier<Collection<String>> places) throws InterruptedException {
        Thread leaving = new Thread(Voice::readToEnd);
        leaving.start();
        while (leaving.isAlive()) {
            StringBuilder list = new StringBuilder();
            for (String place : new TreeSet<>(places.get())) {
                list.append(list.isEmpty() ? "" : ", ").append('"').append(place).append('"');
            }
            line("{\"event\": \"seen\", \"places\": [" + list + "]}");
            leaving.join(LOOK_MILLIS);
        }
    }

    private static void line(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private static void readToEnd() {
        try {
            while (System.in.read() >= 0) {
                // Whatever is said is not for us.
            }
        } catch (IOException error) {
            // The end, too.
        }
    }
}
