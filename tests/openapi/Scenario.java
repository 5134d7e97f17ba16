// What each generated SDK does against a live service, in Java; see scenario.py, which it follows step by step.

import dev.pagepool.sdk.ApiClient;
import dev.pagepool.sdk.ApiException;
import dev.pagepool.sdk.api.FramesApi;
import dev.pagepool.sdk.api.ImageApi;
import dev.pagepool.sdk.api.OperationsApi;
import dev.pagepool.sdk.api.PagesApi;
import dev.pagepool.sdk.api.TypesApi;
import dev.pagepool.sdk.model.ExtentList;
import dev.pagepool.sdk.model.ParametersPatch;
import dev.pagepool.sdk.model.Problem;
import dev.pagepool.sdk.model.TypeConfiguration;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.ClassicHttpResponse;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;

public final class Scenario {
  private static final int TYPE = 7;
  private static final int SIZE = 4096;
  private static final int COUNT = 512;

  private interface Call {
    void run() throws Exception;
  }

  private final ApiClient client;
  private final ApiClient stranger;
  private final PagesApi pages;
  private final FramesApi frames;
  private final TypesApi types;
  private final ImageApi image;
  private final OperationsApi operations;
  private final Path folder;
  private final byte[] extent;
  private final byte[] framesBody;
  private final byte[] one;
  private final byte[] noise;

  private Scenario(String url, String token, Path folder) throws Exception {
    this.client = new ApiClient(http()).setBasePath(url).setBearerToken(token);
    this.stranger = new ApiClient(http()).setBasePath(url);
    this.pages = new PagesApi(client);
    this.frames = new FramesApi(client);
    this.types = new TypesApi(client);
    this.image = new ImageApi(client);
    this.operations = new OperationsApi(client);
    this.folder = folder;
    this.extent = Files.readAllBytes(folder.resolve("pages.bin"));
    this.framesBody = Files.readAllBytes(folder.resolve("frames.bin"));
    this.one = Files.readAllBytes(folder.resolve("one.bin"));
    this.noise = Files.readAllBytes(folder.resolve("noise.bin"));
  }

  /** The generated client reads the body of every error; 304 and the errors of HEAD have none, so give them an empty one. */
  private static CloseableHttpClient http() {
    return HttpClients.custom()
        .addResponseInterceptorLast(
            (response, entity, context) -> {
              if (entity == null && response.getCode() >= 300) {
                ((ClassicHttpResponse) response).setEntity(new ByteArrayEntity(new byte[0], null));
              }
            })
        .build();
  }

  private static void check(boolean holds) {
    if (!holds) {
      throw new AssertionError();
    }
  }

  private static void equal(Object got, Object wanted) {
    if (!got.equals(wanted)) {
      throw new AssertionError(got + " and not " + wanted);
    }
  }

  private static byte[] zeros(int pages) {
    return new byte[pages * SIZE];
  }

  private String header(String name) {
    for (Map.Entry<String, List<String>> header : client.getResponseHeaders().entrySet()) {
      if (header.getKey().equalsIgnoreCase(name)) {
        return header.getValue().get(0);
      }
    }
    return "";
  }

  private ApiException fails(int status, Call call) throws Exception {
    try {
      call.run();
    } catch (ApiException error) {
      equal(error.getCode(), status);
      return error;
    }
    throw new AssertionError("no error " + status);
  }

  private Problem refused(int status, Call call) throws Exception {
    Problem problem = client.getObjectMapper().readValue(fails(status, call).getResponseBody(), Problem.class);
    equal(problem.getStatus(), (long) status);
    return problem;
  }

  private static ExtentList extents(long offset, long count) {
    return new ExtentList().addExtentsItem(List.of(offset, count));
  }

  private byte[] load(long offset, int count) throws ApiException {
    return pages.loadPages(TYPE, offset, count, null, null, null);
  }

  private void store(long offset, byte[] data) throws ApiException {
    pages.storePages(TYPE, offset, data, null, null);
    equal(client.getStatusCode(), 204);
  }

  private void authentication() throws Exception {
    equal(refused(401, () -> new OperationsApi(stranger).getPool()).getCode(), "unauthorized");
    equal(new OperationsApi(stranger).getReadiness().getStatus().getValue(), "ready");
    equal(operations.getPool().getPageSize(), (long) SIZE);
  }

  private void page() throws Exception {
    store(42, one);
    check(Arrays.equals(load(42, 1), one));
    equal(header("Page-Kind"), "compressed");
  }

  private void extent() throws Exception {
    store(100, extent);
    check(Arrays.equals(load(100, COUNT), extent));
  }

  private void frames() throws Exception {
    frames.storeFrames(TYPE, 1000L, framesBody);
    check(Arrays.equals(load(1000, 8), Arrays.copyOf(extent, 8 * SIZE)));
    byte[] answer = frames.loadFrames(TYPE, 1000L, 8, null);
    Files.write(folder.resolve("frames-answer.bin"), answer);
    check(Arrays.equals(frames.gatherFrames(TYPE, extents(1000, 8), null), answer));
  }

  private void head() throws Exception {
    pages.inspectPages(TYPE, 42L, null, null, null, null);
    equal(header("Content-Length"), "" + SIZE);
    check(Integer.parseInt(header("Page-Stored-Length")) > 0);
    fails(404, () -> pages.inspectPages(TYPE, 9999L, null, null, null, null));
  }

  private void notModified() throws Exception {
    load(42, 1);
    String etag = header("ETag");
    fails(304, () -> pages.loadPages(TYPE, 42L, null, null, null, etag));
    fails(304, () -> pages.inspectPages(TYPE, 42L, null, null, null, etag));
  }

  private void preconditionFailed() throws Exception {
    Problem problem = refused(412, () -> pages.storePages(TYPE, 42L, noise, "\"0000000000000000\"", null));
    equal(problem.getCode() + " " + problem.getPrevious(), "precondition_failed kept");
    check(Arrays.equals(load(42, 1), one));
  }

  private void missing() throws Exception {
    Problem problem = refused(404, () -> load(9000, 3));
    equal(problem.getCode(), "page_missing");
    equal(problem.getMissing(), List.of(List.of(9000L, 3L)));
    check(Arrays.equals(pages.loadPages(TYPE, 9000L, 3, "zero", null, null), zeros(3)));
  }

  private void full() throws Exception {
    operations.changeParameters(new ParametersPatch().maxPoolBytes(1L));
    try {
      Problem problem = refused(507, () -> store(43, noise));
      equal(problem.getCode() + " " + problem.getPrevious(), "pool_full invalidated");
      check(Integer.parseInt(header("Retry-After")) > 0);
      store(43, zeros(1));
    } finally {
      operations.changeParameters(new ParametersPatch().maxPoolBytes(0L));
    }
  }

  private void delete() throws Exception {
    pages.invalidatePages(TYPE, 42L, null, null, null);
    equal(client.getStatusCode(), 204);
    equal(refused(404, () -> pages.invalidatePages(TYPE, 42L, null, null, null)).getCode(), "page_missing");
    equal(pages.invalidatePages(TYPE, 1000L, 4, null, null).getInvalidated(), 4L);
    equal(pages.invalidateExtents(TYPE, extents(1000, 8)).getInvalidated(), 4L);
    equal(pages.zeroExtents(TYPE, extents(2000, 64)).getZeroed(), 64L);
  }

  private void take() throws Exception {
    check(Arrays.equals(pages.takePage(TYPE, 43L), zeros(1)));
    refused(404, () -> pages.takePage(TYPE, 43L));
  }

  private void types() throws Exception {
    types.configureType(TYPE + 1, new TypeConfiguration().imageBytes(4L * SIZE));
    equal(types.listTypes(null, null).getTypes().stream().map(each -> each.getType()).toList(), List.of(7L, 8L));
    equal(types.getType(TYPE).getStoredPages(), COUNT + 64L);
    equal(types.getTypeExtents(TYPE, 2000L, 64L).getExtents().get(0).getState().getValue(), "zero");
    equal(types.getTypeMap(TYPE, 64L, 2000L, 1).getCells().get(0).getZero(), 64L);
    equal(refused(404, () -> types.getType(TYPE + 2)).getCode(), "type_unknown");
  }

  private void image() throws Exception {
    byte[] whole = Arrays.copyOf(one, 2 * SIZE);
    System.arraycopy(noise, 0, whole, SIZE, SIZE);
    image.writeImage(TYPE + 1, whole, null, null, null);
    image.inspectImage(TYPE + 1, null, null);
    equal(header("Content-Length"), "" + 2 * SIZE);
    check(Arrays.equals(image.readImage(TYPE + 1, null, null, null, null), whole));
    byte[] part = image.readImage(TYPE + 1, "bytes=4000-4199", null, null, null);
    check(Arrays.equals(part, Arrays.copyOfRange(whole, 4000, 4200)));
  }

  private void parameters() throws Exception {
    var changed = operations.changeParameters(new ParametersPatch().acceptThresholdPercent(80));
    equal(changed, operations.getParameters());
    equal(changed.getAcceptThresholdPercent(), 80);
  }

  private void end() throws Exception {
    types.deleteType(TYPE);
    types.deleteType(TYPE + 1);
    equal(operations.getPool().getStoredPages(), 0L);
  }

  public static void main(String[] arguments) throws Exception {
    Scenario scenario = new Scenario(arguments[0], arguments[1], Path.of(arguments[2]));
    Map<String, Call> steps = new LinkedHashMap<>();
    steps.put("authentication", scenario::authentication);
    steps.put("page", scenario::page);
    steps.put("extent", scenario::extent);
    steps.put("frames", scenario::frames);
    steps.put("head", scenario::head);
    steps.put("not modified", scenario::notModified);
    steps.put("precondition failed", scenario::preconditionFailed);
    steps.put("missing", scenario::missing);
    steps.put("full", scenario::full);
    steps.put("delete", scenario::delete);
    steps.put("take", scenario::take);
    steps.put("types", scenario::types);
    steps.put("image", scenario::image);
    steps.put("parameters", scenario::parameters);
    steps.put("end", scenario::end);
    for (Map.Entry<String, Call> step : steps.entrySet()) {
      step.getValue().run();
      System.out.println("ok " + step.getKey());
    }
  }
}
