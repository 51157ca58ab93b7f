// A HAPI FHIR JPA server (R4, H2 in memory) with the HAPI starter's default behaviour, for tests: plain Spring and Jetty,
// loopback only. It says READY on standard output, and ends when its standard input closes, so no test run leaves one behind.

import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings.StoreMetaSourceInformationEnum;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.ResponseHighlighterInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import jakarta.persistence.EntityManagerFactory;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.util.Map;
import javax.sql.DataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.h2.jdbcx.JdbcConnectionPool;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

@Configuration
@Import({
    JpaR4Config.class, HapiJpaConfig.class, ThreadPoolFactoryConfig.class,
    JpaBatch2Config.class, Batch2JobsConfig.class, SubscriptionChannelConfig.class
})
public class HapiServer {

    /** Starts the server; the only argument is its port (0: a free one). */
    public static void main(String[] args) {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error"); // before the first logger is made
        endWithStandardInput();
        try {
            System.out.println("READY http://127.0.0.1:" + start(Integer.parseInt(args[0])) + "/fhir");
        } catch (Exception failure) {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1); // threads that did start would keep it alive
        }
    }

    /** Answers the port it listens on. */
    private static int start(int port) throws Exception {
        var spring = new AnnotationConfigApplicationContext(HapiServer.class);
        var jetty = new Server(new InetSocketAddress("127.0.0.1", port));
        var context = new ServletContextHandler("/");
        var servlet = new ServletHolder(spring.getBean(RestfulServer.class));
        servlet.setInitOrder(0); // initialised while Jetty starts, not by the first request
        context.addServlet(servlet, "/fhir/*");
        jetty.setHandler(context);
        jetty.start();
        return ((ServerConnector) jetty.getConnectors()[0]).getLocalPort();
    }

    /** Stops when standard input ends: the process that started this server holds it open, so the server ends with it. */
    private static void endWithStandardInput() {
        var watch = new Thread(() -> {
            try {
                System.in.transferTo(OutputStream.nullOutputStream());
            } catch (IOException broken) {
                // as good as closed
            }
            Runtime.getRuntime().halt(0); // nothing is worth keeping: all data is in memory
        });
        watch.setDaemon(true);
        watch.start();
    }

    @Bean
    JpaStorageSettings storageSettings() {
        var settings = new JpaStorageSettings();
        settings.setStoreMetaSourceInformation(StoreMetaSourceInformationEnum.NONE);
        settings.setAllowContainsSearches(true);
        settings.setFilterParameterEnabled(true);
        return settings;
    }

    @Bean
    PartitionSettings partitionSettings() {
        return new PartitionSettings();
    }

    @Bean
    DataSource dataSource() {
        var pool = JdbcConnectionPool.create("jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1", "sa", "");
        pool.setMaxConnections(10); // the starter's: how many writers meet in a race depends on it
        return pool;
    }

    @Bean
    LocalContainerEntityManagerFactoryBean entityManagerFactory(
            ConfigurableListableBeanFactory beans, DataSource database, FhirContext fhir, JpaStorageSettings settings) {
        var factory = HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, fhir, settings);
        factory.setPersistenceUnitName("HAPI_PU");
        factory.setDataSource(database);
        factory.setJpaPropertyMap(Map.of(
                "hibernate.dialect", HapiFhirH2Dialect.class.getName(),
                "hibernate.hbm2ddl.auto", "create",
                "hibernate.jdbc.batch_size", "20",
                "hibernate.search.enabled", "false"));
        return factory;
    }

    @Bean
    JpaTransactionManager transactionManager(EntityManagerFactory entityManagerFactory) {
        return new JpaTransactionManager(entityManagerFactory);
    }

    @Bean
    RestfulServer restfulServer(
            IFhirSystemDao<?, ?> system, IJpaSystemProvider systemProvider, ResourceProviderFactory resources,
            JpaStorageSettings settings, ISearchParamRegistry searchParams, IValidationSupport validation,
            DatabaseBackedPagingProvider paging) {
        var server = new RestfulServer(system.getContext());
        server.registerProviders(resources.createProviders());
        server.registerProvider(systemProvider);
        server.setServerConformanceProvider(
                new JpaCapabilityStatementProvider(server, system, settings, searchParams, validation));
        paging.setDefaultPageSize(20);
        paging.setMaximumPageSize(Integer.MAX_VALUE);
        server.setPagingProvider(paging);
        server.setDefaultPrettyPrint(true);
        server.registerInterceptor(new ResponseHighlighterInterceptor()); // HTML, errors too, for who accepts text/html
        return server;
    }
}
